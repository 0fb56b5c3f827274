"""What sums of users tell of arms: intervals that hold at all times, and whether the split is as configured."""
