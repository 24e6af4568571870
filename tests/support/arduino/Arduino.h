/* As much of an Arduino core as a library sees, for compilers of which there is no core here. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

class Stream {
public:
    virtual int available() = 0;
    virtual int read() = 0;
    virtual size_t write(const uint8_t *bytes, size_t size) = 0;
};

class SerialLine : public Stream {
public:
    void begin(unsigned long baud);
    int available() override;
    int read() override;
    size_t write(const uint8_t *bytes, size_t size) override;
};

extern SerialLine Serial;

unsigned long micros();
unsigned long millis();

#endif
