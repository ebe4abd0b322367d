//! Logins that a JVM lets go of unless they are renewed.

use headroom::clients::jmx::Place;

use super::*;
use crate::support::cable::{Cable, Cut};

/// A client that looks after its logins so often, and its way to the JVM.
async fn client(port: u16, maintenance: Duration) -> (Jmx, Arc<Reached>, Cable) {
    let cable = Cable::to(port, Cut::ByHand).await;
    let mut address = Address::new("127.0.0.1", cable.port());
    address.server = Some(Place {
        host: "127.0.0.1".into(),
        port: cable.port(),
    });
    let options = Options {
        maintenance,
        ..Options::default()
    };
    let way = Arc::new(Reached::new(Way::Rmi(address), None, None));
    (Jmx::new(options).unwrap(), way, cable)
}

#[tokio::test]
async fn a_login_is_kept_as_long_as_its_lease_is_renewed() {
    let jvm = Jvm::with_leases_of(2 * SECOND);
    let (caring, way, cable) = client(jvm.port, SECOND / 5).await;
    let (careless, other_way, other_cable) = client(jvm.port, 600 * SECOND).await;
    assert_eq!(depth(&caring, &way).await, Ok(Datum::Integer(7)));
    assert_eq!(depth(&careless, &other_way).await, Ok(Datum::Integer(7)));
    assert_eq!(
        (cable.carried(), other_cable.carried()),
        (1, 1),
        "one connection for registry, login and reading"
    );
    let begun = Instant::now();
    let mut pause = tokio::time::interval(SECOND / 5);
    while other_cable.carried() == 1 {
        assert!(begun.elapsed() < 60 * SECOND, "the JVM lets go of nothing");
        pause.tick().await;
        assert_eq!(
            depth(&careless, &other_way).await,
            Ok(Datum::Integer(7)),
            "a login that has lapsed is made anew in the same reading"
        );
    }
    assert!(
        begun.elapsed() > SECOND,
        "reading alone renews nothing, and the lease was not over at once: {:?}",
        begun.elapsed()
    );
    assert_eq!(depth(&caring, &way).await, Ok(Datum::Integer(7)));
    assert_eq!(cable.carried(), 1, "still the first login");
}
