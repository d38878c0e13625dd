"""What one picture shows, and what becomes of it when the network is changed."""
