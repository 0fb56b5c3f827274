"""What a smaller embedding store costs on a log: capacity, admission and time to live against AUC."""
