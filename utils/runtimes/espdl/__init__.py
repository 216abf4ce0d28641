"""export.py --format espdl: 8 bits for ESP32 chips, made and simulated by Espressif's esp-ppq."""
