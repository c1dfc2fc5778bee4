"""What policies that decide turn by turn share: turns, columns, given episodes, looks ahead."""
