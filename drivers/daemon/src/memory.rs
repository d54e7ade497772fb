//! The memory of this process.

/// Returns the bytes of memory that this process occupies, as the system counts them; `None` where there is no `/proc`.
pub(crate) fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_grows_with_what_is_kept() {
        let before = super::resident().expect("Linux tells");
        let kept = vec![1_u8; 64 << 20];
        let after = super::resident().expect("Linux tells");
        assert!(
            after >= before + (kept.len() as u64) / 2,
            "{before} {after}"
        );
    }
}
