//! MQTT 5 properties: validated once, iterated without allocation.
