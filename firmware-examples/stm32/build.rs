//! What the linker is told.

fn main() {
    for script in ["link.x", "defmt.x"] {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rerun-if-env-changed=BROKER");
}
