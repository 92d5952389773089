// The camera: on a page that may use it, its picture and a shutter; else the phone's own camera.

import { $ } from "./dom.js";
import { stamped } from "./intake.js";

/** Calls `take([{file, name}])` with each picture taken, and `tell(text)` where there is none. */
export function camera(take, tell) {
  const video = document.querySelector("#camera video");
  const { mediaDevices } = navigator; // none on an address without https
  let stream = null;
  let facing = "environment";

  const close = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    $("camera").hidden = true;
    document.body.classList.remove("shooting");
    $("photograph").setAttribute("aria-expanded", "false");
  };

  const open = async () => {
    close();
    stream = await mediaDevices.getUserMedia({
      video: { facingMode: { ideal: facing }, width: { ideal: 1920 }, height: { ideal: 1080 } },
    });
    video.srcObject = stream;
    $("camera").hidden = false;
    document.body.classList.add("shooting");
    $("photograph").setAttribute("aria-expanded", "true");
    await video.play();
    const devices = await mediaDevices.enumerateDevices();
    $("turn").hidden = devices.filter((one) => one.kind === "videoinput").length < 2;
  };

  const tried = async () => {
    try {
      await open();
      $("snap").focus();
    } catch (error) {
      close();
      if (error.name === "NotAllowedError")
        tell("The camera is not allowed here. Allow it in the browser, or choose a picture.");
      else if (error.name === "AbortError")
        return; // closed meanwhile
      else tell("No camera was found. Choose a picture instead.");
    }
  };

  $("photograph").addEventListener("click", () => {
    if (!mediaDevices?.getUserMedia) $("shot").click();
    else if (stream) close();
    else tried();
  });
  if (mediaDevices?.getUserMedia) $("photograph").setAttribute("aria-expanded", "false");
  $("turn").addEventListener("click", () => {
    facing = facing === "environment" ? "user" : "environment";
    tried();
  });
  $("stop-camera").addEventListener("click", () => {
    close();
    $("photograph").focus();
  });
  $("camera").addEventListener("keydown", (event) => {
    if (event.key === "Escape") $("stop-camera").click();
  });
  $("snap").addEventListener("click", async () => {
    if (!video.videoWidth) return;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    const name = stamped("photo", "jpg");
    take([{ file: new File([blob], name, { type: blob.type }), name }], []);
  });
}
