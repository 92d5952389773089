// The camera, live: its frames go to the network one at a time, the newest whenever it is free.

export class Camera {
  // `look` takes a frame and returns when it has been answered.
  constructor(video, look) {
    this.video = video;
    this.look = look;
    this.stream = null;
    this.chosen = null; // of several cameras
  }

  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  // Starts, or throws an Error whose message says why it cannot.
  async start() {
    const which = this.chosen ? { deviceId: { exact: this.chosen } } : { facingMode: "environment" };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...which, width: { ideal: 1280 } } });
    } catch (error) {
      throw new Error(explained(error));
    }
    this.stop();
    this.stream = stream;
    this.video.srcObject = stream;
    await this.video.play();
    this.watch(stream);
  }

  // More than one camera: the next one.
  async turn() {
    const cameras = await this.cameras();
    const now = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    const next = (cameras.findIndex((each) => each.deviceId === now) + 1) % cameras.length;
    this.stop(); // a phone opens one camera at a time
    this.chosen = cameras[next].deviceId;
    await this.start();
  }

  async cameras() {
    return (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  async watch(stream) {
    while (this.stream === stream) {
      await new Promise((next) => {
        if (document.hidden) document.addEventListener("visibilitychange", next, { once: true });
        else if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
        else requestAnimationFrame(next);
        setTimeout(next, 1000); // a camera that has stopped gives no frame more
      });
      if (this.stream !== stream || document.hidden || this.video.readyState < 2) continue;
      await this.look(await createImageBitmap(this.video));
    }
  }

  // What is seen now, as a file.
  async kept() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    const now = new Date();
    const time = new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace(/[-:]/g, "");
    return new File([blob], `camera-${time.replace("T", "-")}.jpg`, { type: "image/jpeg" });
  }
}

function explained(error) {
  if (error.name === "NotAllowedError") return "The camera was not allowed. Allow it in the browser's settings of this page.";
  if (error.name === "NotFoundError") return "There is no camera on this device.";
  if (error.name === "NotReadableError") return "The camera is in use by another program.";
  return `The camera cannot be used: ${error.message}`;
}
