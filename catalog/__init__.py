"""What was made: an index over the gallery's pictures, stars, the bin, thumbnails. Knows no Prefect."""
