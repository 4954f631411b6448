//! Where the linker finds the chip's memory.

fn main() {
    println!("cargo:rustc-link-arg=-Tlinkall.x");
    for name in ["WIFI_NAME", "WIFI_PASSWORD", "BROKER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
}
