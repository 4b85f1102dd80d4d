FACTORY_VERSION = "0.0.0"


def factory_image(chip, version):
    return b""
