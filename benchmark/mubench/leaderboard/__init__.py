"""The static leaderboard: submissions, their validation, the pages, and exports."""
