//! The reference and its world judge by themselves.

/// A judge that called what it judges would share its faults.
#[test]
fn nothing_in_the_world_calls_what_it_judges() {
    let judged = [
        "decide_intent",
        "verdict",
        "proves",
        "gives_up",
        "build_status",
        "remembered_plans",
        "is_own",
        "is_to_blame",
        "is_stop_requested",
        "all_settled",
        "goes_on",
        "expects",
        "meaning",
        "doubt",
    ];
    let mut folders = vec![std::path::PathBuf::from("src/machine/checks/world")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("the tests run where the sources are") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            #[allow(clippy::disallowed_methods, reason = "the sources are no input of the machine")]
            let text = std::fs::read_to_string(&path).expect("a readable file");
            for name in judged {
                assert!(!text.contains(&format!("{name}(")), "{} calls {name}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 10, "{files} files");
}
