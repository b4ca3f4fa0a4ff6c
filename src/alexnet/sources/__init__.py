"""Reading and writing files of images, without torch."""
