"""How pages and plots are drawn; knows no domain."""
