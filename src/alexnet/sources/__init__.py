"""Files of images, read without torch."""
