//! What a writer signs a reader accepts: from any cursor, after any compaction, in any splitting, interruption and
//! resumption of deltas, at brokers that lag, with the owner publishing in between. And nothing else.

#[path = "../paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;

mod branches;
mod cases;
mod lies;
mod model;
mod pulses;
mod world;

use world::{End, World};

/// [P-2] [P-6] [P-9] [P-11] [P-12] [P-13] An honest broker is never accused, and what is accepted is the owner's view.
#[test]
fn honest_brokers_that_lag_and_cuts_at_every_frame_lead_to_the_owners_view_and_never_to_an_accusation() {
    let (mut accepted, mut bitmaps) = (0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed, if seed % 2 == 0 { 10 } else { 50 });
        for _ in 0..12 {
            for _ in 0..1 + world.dice.roll(7) {
                world.tick();
            }
            let at = world.dice.roll(3) as usize;
            if world.dice.chance(20) {
                world.follower.restart();
            }
            match world.connect(at, 15, None) {
                End::Current => accepted += 1,
                End::Behind | End::Cut => {}
                end => panic!("seed {seed}: an honest broker was answered with {end:?}"),
            }
        }
        bitmaps += world.bitmaps;
    }
    assert!(bitmaps > 100, "only {bitmaps} bitmaps were asked for");
    assert!(accepted > 1_000, "only {accepted} deltas were accepted");
}
