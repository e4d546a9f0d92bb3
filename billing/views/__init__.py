"""What browsers and Stripe ask of billing."""
