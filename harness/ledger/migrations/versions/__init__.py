"""One module a change, oldest first. What has been released is never edited: a further change is a further module."""
