//! The deterministic simulator: seeded networks, disks, clocks and faults around the core.
