"""What the strategies that train a super-network share."""
