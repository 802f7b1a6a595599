"""How every command behaves: flags and their values, errors, exit statuses, devices, outputs."""
