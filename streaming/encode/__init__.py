"""From labeled impressions and requests to ids and numbers; training and serving share this code."""
