//! Proof that the core needs no standard library: this links with a panic handler and an allocator of its own.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};

use rumormill_core::{Config, Instant, Now, Recovery, Seed, Wall};

struct NoMemory;

// SAFETY: never returns memory, which is an allowed answer of an allocator.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The number of members of a node that knows only itself.
#[unsafe(no_mangle)]
pub extern "C" fn rumormill_members() -> usize {
    let now = Now::new(Instant::ZERO, Wall::from_millis(0));
    match Recovery::new(Config::new("a", "a"), Seed::from_u64(1)).finish(now) {
        Ok(node) => node.members().len(),
        Err(_) => 0,
    }
}
