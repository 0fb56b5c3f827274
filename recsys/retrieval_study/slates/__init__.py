"""Lists varied and merged, judged by what users liked later: what variety costs, and what a biased source costs."""
