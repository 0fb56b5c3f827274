"""When an impression without a click is learned as negative: at the pace at which clicks come."""
