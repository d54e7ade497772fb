//! The `rumormill` binary.

fn main() {
    eprintln!("rumormill: no command works yet");
    std::process::exit(2);
}
