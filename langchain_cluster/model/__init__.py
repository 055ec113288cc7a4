"""Values: endpoints, calls, verdicts, events. No behaviour beyond their own arithmetic."""
