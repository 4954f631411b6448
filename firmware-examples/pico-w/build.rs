//! Where the linker finds the board's memory, and the compiler the radio's firmware.

use std::env;
use std::path::PathBuf;

const FIRMWARE: [&str; 3] = ["43439A0.bin", "43439A0_clm.bin", "nvram_rp2040.bin"];

fn main() {
    println!("cargo:rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
    for script in ["link.x", "link-rp.x", "defmt.x"] {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rerun-if-changed=memory.x");
    for name in ["CYW43_FIRMWARE", "WIFI_NAME", "WIFI_PASSWORD", "BROKER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let folder = env::var("CYW43_FIRMWARE").unwrap_or("cyw43-firmware".into());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    for name in FIRMWARE {
        let file = folder.join(name);
        assert!(file.exists(), "no {}: the README says where to get it", file.display());
    }
    println!("cargo:rustc-env=CYW43_FIRMWARE={}", folder.display());
}
