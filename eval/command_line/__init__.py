"""What the command lines of eval/ and train/ share: flags, their values, and how a command ends."""
