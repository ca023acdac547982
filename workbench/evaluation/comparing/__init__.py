"""Two or more models on the same items: is one really better, what got worse, and what does it cost?"""
