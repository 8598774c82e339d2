/* Opens and reads f by the calls of i386, without a C library. */
static int call(int number, int first, int second, int third) {
    int answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return answer;
}
void _start(void) {
    static char data[64], path[] = "f";
    int length = call(3, call(5, (int)path, 0, 0), (int)data, sizeof data);
    call(4, 1, (int)data, length > 0 ? length : 0);
    call(1, 0, 0, 0);
}
