"""What trains and answers: the model, its adapters, the loops, and the child processes they run in."""
