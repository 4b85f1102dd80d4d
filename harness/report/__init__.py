"""What people and machines read of a run: HTML, JUnit, JSON and the terminal's last words, all from one `RunRecord`."""
