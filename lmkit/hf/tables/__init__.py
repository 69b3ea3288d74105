"""What the families of Hugging Face are in lmkit's parts: two tables each, and what they are made of."""
