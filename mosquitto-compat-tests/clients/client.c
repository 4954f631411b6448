/* A program of libmosquitto against a broker: client HOST PORT
 *
 * With port 0 HOST is the path of a unix socket. Messages of every QoS, sent and received by one
 * client. Prints "well". */

#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 300

static int received;
static int failed;

static void fail(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, mosquitto_strerror(code));
    failed = 1;
}

static void on_connect(struct mosquitto *client, void *arg, int code)
{
    (void)arg;
    if (code != 0) {
        fprintf(stderr, "refused: %s\n", mosquitto_connack_string(code));
        failed = 1;
        return;
    }
    code = mosquitto_subscribe(client, NULL, "c/+", 2);
    if (code != MOSQ_ERR_SUCCESS) {
        fail("subscribe", code);
    }
}

static void on_subscribe(struct mosquitto *client, void *arg, int mid, int count, const int *granted)
{
    (void)arg;
    (void)mid;
    if (count != 1 || granted[0] != 2) {
        fprintf(stderr, "granted %d\n", granted[0]);
        failed = 1;
    }
    for (int number = 0; number < MESSAGES; number++) {
        char topic[8];
        char payload[16];
        snprintf(topic, sizeof topic, "c/%d", number % 3);
        int len = snprintf(payload, sizeof payload, "%d", number);
        int code = mosquitto_publish(client, NULL, topic, len, payload, number % 3, false);
        if (code != MOSQ_ERR_SUCCESS) {
            fail("publish", code);
        }
    }
}

static void on_message(struct mosquitto *client, void *arg, const struct mosquitto_message *message)
{
    static int last[3] = {-3, -2, -1};
    (void)arg;
    int qos = message->topic[2] - '0';
    int number = atoi((const char *)message->payload);
    if (message->qos != qos || number != last[qos] + 3) {
        fprintf(stderr, "%s: %d at QoS %d after %d\n", message->topic, number, message->qos, last[qos]);
        failed = 1;
    }
    last[qos] = number;
    if (++received == MESSAGES) {
        mosquitto_disconnect(client);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new("libmosquitto", true, NULL);
    if (client == NULL) {
        return 2;
    }
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_message_callback_set(client, on_message);
    int code = mosquitto_connect(client, argv[1], atoi(argv[2]), 30);
    if (code != MOSQ_ERR_SUCCESS) {
        fail("connect", code);
        return 1;
    }
    while (code == MOSQ_ERR_SUCCESS && !failed) {
        code = mosquitto_loop(client, 1000, 1);
    }
    mosquitto_destroy(client);
    mosquitto_lib_cleanup();
    if (failed || received != MESSAGES) {
        fprintf(stderr, "%d messages of %d\n", received, MESSAGES);
        return 1;
    }
    puts("well");
    return 0;
}
