"""The flags that several commands of eval/ share."""
