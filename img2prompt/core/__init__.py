"""What every room uses: errors, files, the hub, processes."""
