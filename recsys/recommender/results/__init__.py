"""What a call of the recommender gives back, as objects and tables."""
