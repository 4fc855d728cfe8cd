//! The bodies of the fuzz targets over the corpus that is kept, and over mutations of it: the same in every run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use tidings_fuzz_bodies::{Run, TARGETS, objects, seeds};
use tidings_hostile::{Dice, mutated};

/// Mutations of each target, if the time suffices.
const MUTATIONS: u64 = 20_000;
/// Time for the mutations of one target: a slow machine makes fewer.
const TIME: Duration = Duration::from_secs(5);

/// This package's folder, as cargo says when it runs the test: what is compiled into it may be of another checkout that shares the target
/// folder.
fn manifest_dir() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn folder(target: &str) -> PathBuf {
    manifest_dir().join("../corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder(target)).expect("each target has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

fn run(name: &str) -> Run {
    TARGETS.iter().find(|(known, _)| *known == name).expect("a target").1
}

/// Runs the corpus of a target, then mutations of it. The panic that follows a wrong one is told with the input.
fn mutate(target: &str) {
    let (run, corpus) = (run(target), corpus(target));
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|input| run(input));
    let (begun, mut ran) = (Instant::now(), 0);
    for seed in 0..MUTATIONS {
        if begun.elapsed() > TIME {
            break;
        }
        let mut dice = Dice::new(seed);
        let (at, other) = (dice.below(corpus.len()), dice.below(corpus.len()));
        let input = mutated(&corpus[at], &corpus[other], &mut dice);
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            panic!("{target}, seed {seed}: {}", HEXLOWER.encode(&input));
        }
        ran += 1;
    }
    println!("{target}: {} of the corpus, {ran} mutations, {:?}", corpus.len(), begun.elapsed());
}

#[test]
fn objects_have_one_encoding_each_however_they_are_mutated() {
    mutate("objects");
}

#[test]
fn frames_mean_one_thing_however_they_are_mutated() {
    mutate("frames");
}

#[test]
fn a_reader_believes_only_its_owner_however_a_broker_answers() {
    mutate("reader");
}

#[test]
fn a_broker_holds_what_its_owner_signed_however_it_is_asked() {
    mutate("broker");
}

#[test]
fn a_reader_follows_its_owner_to_another_past_however_brokers_answer() {
    mutate("rewinds");
}

/// A kind that nothing in the corpus is read as would be fuzzed at its first byte only.
#[test]
fn every_kind_of_object_is_read_from_something_in_the_corpus() {
    let corpus = corpus("objects");
    let read: BTreeSet<&str> = corpus
        .iter()
        .filter_map(|input| {
            let (kind, bytes) = input.split_first()?;
            let (name, read) = objects::KINDS.get(usize::from(*kind))?;
            read(bytes).then_some(*name)
        })
        .collect();
    let missing: Vec<_> = objects::KINDS.iter().map(|(name, _)| *name).filter(|name| !read.contains(name)).collect();
    assert!(missing.is_empty(), "nothing in the corpus is read as {missing:?}");
}

#[test]
fn the_corpus_is_small() {
    let sizes: Vec<usize> = TARGETS.iter().flat_map(|(target, _)| corpus(target)).map(|input| input.len()).collect();
    let bytes: usize = sizes.iter().sum();
    assert!(sizes.len() <= 800 && bytes <= 1 << 20, "{} files, {bytes} bytes", sizes.len());
}

/// With `TIDINGS_BLESS=1`, writes what the corpus begins with: the values of `docs/vectors` and what the story's owner signed.
#[test]
#[ignore = "writes into the repository"]
fn seeds_are_written() {
    assert!(std::env::var_os("TIDINGS_BLESS").is_some_and(|bless| bless == "1"), "set TIDINGS_BLESS=1");
    for (target, inputs) in [
        ("objects", seeds::objects(&vectors())),
        ("frames", seeds::frames()),
        ("reader", seeds::reader()),
        ("broker", seeds::broker()),
        ("rewinds", seeds::rewinds()),
    ] {
        std::fs::create_dir_all(folder(target)).expect("the corpus can be written");
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder(target).join(format!("seed-{number:03}")), input).expect("the corpus can be written");
        }
    }
}

/// Every value in `docs/vectors`.
fn vectors() -> Vec<Vec<u8>> {
    let folder = manifest_dir().join("../../docs/vectors");
    let files = std::fs::read_dir(folder).expect("the vectors are there");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text"));
    let values = texts.flat_map(|text| text.lines().filter_map(|line| Some(line.split_once(" = ")?.1.to_owned())).collect::<Vec<_>>());
    values.filter_map(|value| HEXLOWER.decode(value.as_bytes()).ok()).collect()
}
