"""What is stored, checked: gaps, defects, disagreements, and their repair."""
