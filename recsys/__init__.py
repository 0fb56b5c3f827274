"""The recommender platform: configuration, models, training, replay and the command line."""
