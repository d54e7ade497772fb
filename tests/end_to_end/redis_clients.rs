//! Client libraries of Redis, where they are installed.

use std::process::Command;

use crate::commands::lone;
use crate::support::text;

/// Skipped, with a word, where there is no redis-py. `RUMORMILL_PYTHON` names a Python that has it.
#[test]
fn redis_py_and_django_do_what_they_say() {
    let (_dir, node) = lone();
    let port = node.redis().rsplit(':').next().expect("a port");
    let python = std::env::var("RUMORMILL_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/end_to_end/redis_py.py"
    );
    let Ok(output) = Command::new(&python).args([script, port]).output() else {
        println!("skipped: no {python}");
        return;
    };
    assert!(output.status.success(), "{}", text(&output.stderr));
    match text(&output.stdout).trim() {
        "missing" => println!("skipped: {python} has no redis-py"),
        tried => assert!(tried.ends_with("== all"), "{tried}"),
    }
}
