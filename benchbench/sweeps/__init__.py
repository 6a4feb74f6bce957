"""What is measured when nothing else is asked: importing this package registers the shipped cases. No torch needed."""
