//! The lab sees a defect of real parts: a disk that said that it had synced and had not.

use std::path::PathBuf;

use super::process::LONG;
use super::round::look;
use super::scene::{Part, Scene};

/// Half of what the broker wrote since it started is gone.
fn cut_log(scene: &Scene) {
    let files = std::fs::read_dir(scene.world.path("broker/store")).expect("the folder is there");
    let is_log = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "log");
    let logs = files.map(|file| file.expect("a file").path()).filter(is_log);
    let newest = logs.max_by_key(|path| path.metadata().map_or(0, |data| data.len())).expect("a log");
    let bytes = std::fs::read(&newest).expect("the log is there");
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).expect("the log can be written");
}

#[test]
fn a_broker_that_lost_what_it_had_receipted_is_caught() {
    let mut scene = Scene::new(1);
    scene.load(LONG, |scene| scene.witnessed.receipts > 600);
    scene.kill(&[Part::Broker]);
    look(&mut scene, &[Part::Broker]);
    assert!(!scene.has_failed());
    cut_log(&scene);
    look(&mut scene, &[Part::Broker]);
    assert!(scene.witnessed.violations[0].contains("had receipted"), "{:?}", scene.witnessed.violations);
}
