/** What `init` writes: valid as it stands, with the choices that most people make next in comments. */
export const STARTER_CONFIG = `# Configuration of the MQTT North Connector. Every option: docs/configuration.md
# "mqtt-north check" tells every problem of this file with its line; "mqtt-north explain CODE" what a code means.

# Where accepted messages wait on disk until the broker has them. It counts from the folder of this file.
dataDir: ./data

# Console, API and metrics: http://127.0.0.1:8080
server:
  host: 127.0.0.1 # another address needs tokens and tls
  port: 8080
  # tokens:
  #   - { name: press-line, secret: "\${PRESS_TOKEN}", role: producer, connectors: [plant] }

connectors:
  - id: plant # a-z, 0-9 and -; stays for life, the queued data stands under it
    name: Plant
    settings:
      # Your broker: mqtt, mqtts, ws or wss. User name and password go below, not here.
      url: mqtt://127.0.0.1:1883
      qos: 1 # 0 not acknowledged, 1 at least once, 2 exactly once
      # authentication:
      #   type: basic
      #   username: plant
      #   password: "\${PLANT_PASSWORD}" # an environment variable; or file:/run/secrets/plant
      # authentication:
      #   type: cert
      #   certFilePath: ./certs/plant.pem
      #   keyFilePath: ./certs/plant.key
      #   caFilePath: ./certs/authority.pem # for a broker with a certificate of your own authority
    caching:
      maxSize: 10 GiB # what waits longer than the disk lasts is refused, never dropped silently
    transformers:
      # Values to messages. {pointId} is replaced; single points can have a topic of their own.
      - from: sensors
        type: time-values-to-mqtt
        topic: "plant/{pointId}"
      - from: "*"
        type: time-values-to-mqtt
        topic: "plant/{pointId}"
        mapping:
          - { pointId: boiler/t1, topic: plant/boiler/temperature }
      # Commands to devices: only what is listed here goes out.
      - from: "*"
        type: setpoints-to-mqtt
        mapping:
          - { reference: pump1/speed, topic: cmd/pump1/speed }

inputs:
  # This machine's own measurements: something to see at once.
  - { id: sensors, type: host-sensors, interval: 5 s }
  # Files that are dropped into a folder; this needs a csv-to-mqtt or json-to-mqtt transformer above.
  # - { id: files, type: folder, path: ./drop, pattern: "*.csv" }
`;
