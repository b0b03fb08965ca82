"""Amazon SNS: topics, subscriptions and filter policies."""
